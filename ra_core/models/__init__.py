"""Networks: processors and transformers, the recognizer wrapper, and small recognizers for 32-pixel pictures."""
