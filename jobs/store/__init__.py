"""The only package that speaks to Redis: one module per noun, one Lua file per operation."""
