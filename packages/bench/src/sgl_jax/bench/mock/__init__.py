"""A fake OpenAI-compatible server whose timings are known, to test the tester."""
