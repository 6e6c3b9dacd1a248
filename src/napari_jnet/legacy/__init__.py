"""The original J-Net's script: its flags and files."""
