"""Makes the reference pages that can be made from the code, so that they cannot lag behind it."""
