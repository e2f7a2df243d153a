"""Recordings in the forms that labs keep them in: tables with a folder of images, arrays, BrainIO assemblies."""
