package commands

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Until a file is written as a whole, the old one stays, and nothing is left
// beside it.
func TestOutputInterrupted(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	write := func(text string) func(w *bufio.Writer) error {
		return func(w *bufio.Writer) error {
			_, err := w.WriteString(text)
			return err
		}
	}
	a := &app{}
	if err := a.output(t.Context(), name, write("before")); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	failed := errors.New("no more")
	for want, attempt := range map[error]func() error{
		errInterrupted: func() error { return a.output(ended, name, write("after")) },
		failed: func() error {
			return a.output(t.Context(), name, func(w *bufio.Writer) error {
				return errors.Join(write("after")(w), w.Flush(), failed)
			})
		},
	} {
		if err := attempt(); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		entries, err := os.ReadDir(dir)
		if text, readErr := os.ReadFile(name); err != nil || readErr != nil || string(text) != "before" ||
			len(entries) != 1 {
			t.Errorf("%q in %d files, %v, %v", text, len(entries), err, readErr)
		}
	}
}
