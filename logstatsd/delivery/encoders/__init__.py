"""Batches to payloads: one module for each form in which timings can be sent."""
