"""Training of the networks that ship with the package: recognizers, detectors, proxies of codecs."""
