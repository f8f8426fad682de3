"""Two fits side by side: matched components, joint uncertainties, the verdict."""
