"""Recognition-aware image processing: one chain from picture to accuracy."""

__version__ = "0.1.0"
