"""The CLIP vision tower that turns the source picture into the UNet's context token."""
