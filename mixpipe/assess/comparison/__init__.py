"""The comparison of two fits: matched components, joint uncertainties, the verdict."""
