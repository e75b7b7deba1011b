"""Small data and pretrained networks that ship with the package."""
