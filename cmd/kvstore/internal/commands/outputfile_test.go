package commands

import (
	"bufio"
	"errors"
	"io"
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
	output := func(a *app, do func(w *bufio.Writer) error) error {
		out, err := a.output(name)
		if err != nil {
			return err
		}
		return out.write(do)
	}
	a := newApp(nil, io.Discard, io.Discard)
	if err := output(a, write("before")); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("no more")
	for want, attempt := range map[error]func() error{
		errInterrupted: func() error { // by a signal while it is written
			a := newApp(nil, io.Discard, io.Discard)
			return output(a, func(w *bufio.Writer) error {
				a.cancel()
				return write("after")(w)
			})
		},
		failed: func() error {
			return output(a, func(w *bufio.Writer) error {
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
