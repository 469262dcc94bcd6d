package kvstore

import (
	"context"
	"log/slog"
	"slices"
)

// defaultWarnings is the handler of a store without a Logger. It hands errors
// and warnings to slog.Default, as it is at that moment, and drops the rest. It
// ignores groups, which the store does not use.
type defaultWarnings struct{ attrs []slog.Attr }

// Enabled implements [slog.Handler].
func (h defaultWarnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && slog.Default().Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h defaultWarnings) Handle(ctx context.Context, record slog.Record) error {
	record = record.Clone()
	record.AddAttrs(h.attrs...)
	return slog.Default().Handler().Handle(ctx, record)
}

// WithAttrs implements [slog.Handler].
func (h defaultWarnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return defaultWarnings{slices.Concat(h.attrs, attrs)}
}

// WithGroup implements [slog.Handler].
func (h defaultWarnings) WithGroup(string) slog.Handler { return h }
