"""Networks: processors, preprocessors, recognizers, stand-ins for codecs; and their weights on disk."""
