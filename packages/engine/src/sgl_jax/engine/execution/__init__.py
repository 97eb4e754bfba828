"""Runs plans on a device: packs them, steps, and brings the drawn tokens back."""
