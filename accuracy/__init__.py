"""How often alarms are false, and what is detected: measured on the real engine, seeded, as tables for people."""
