"""The KL autoencoder: 2-D encoder, temporal or per-frame decoder, and decoding of clips in pieces."""
