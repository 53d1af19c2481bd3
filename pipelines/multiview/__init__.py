"""One picture as several views of its object: Zero123++ and FlexGen on stock diffusers parts."""
