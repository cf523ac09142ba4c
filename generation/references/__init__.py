"""References: the images of a gallery that a picture is made from."""
