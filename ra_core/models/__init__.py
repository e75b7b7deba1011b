"""Networks: processors and transformers, the recognizer wrapper, small recognizers for 32-pixel pictures."""
