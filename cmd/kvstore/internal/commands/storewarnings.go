package commands

import (
	"context"
	"log/slog"
	"strings"
	"sync"
)

// storeWarnings keeps the warnings of a store that is being opened. Errors of
// the store are results of calls, too. What recovery has dropped is in Stats.
type storeWarnings struct {
	mu    sync.Mutex
	texts []string // guarded by mu
}

// droppedWarning is how the warning of a torn tail begins.
const droppedWarning = "kvstore: dropped "

// Enabled implements [slog.Handler].
func (w *storeWarnings) Enabled(_ context.Context, level slog.Level) bool {
	return level == slog.LevelWarn
}

// Handle implements [slog.Handler].
func (w *storeWarnings) Handle(_ context.Context, record slog.Record) error {
	if strings.HasPrefix(record.Message, droppedWarning) {
		return nil
	}
	text := strings.TrimPrefix(record.Message, "kvstore: ")
	record.Attrs(func(a slog.Attr) bool {
		text += ": " + a.Value.String()
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
	return nil
}

// WithAttrs implements [slog.Handler]: the command names the directory itself.
func (w *storeWarnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler].
func (w *storeWarnings) WithGroup(string) slog.Handler { return w }

// take returns the warnings so far.
func (w *storeWarnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.texts
}
