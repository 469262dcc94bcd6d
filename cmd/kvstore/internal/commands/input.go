package commands

import (
	"context"
	"io"
	"os"
)

// inputFile is where a command reads from.
type inputFile struct {
	io.Reader
	size  int64 // 0 if that is unknown
	close func() error
}

// input opens a file, or the standard input for -. Reads from it fail with errInterrupted once ctx has ended, even if the one
// who should write to a pipe or a terminal does not.
func (a *app) input(ctx context.Context, name string) (*inputFile, error) {
	in := &inputFile{Reader: a.stdin, close: func() error { return nil }}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in.Reader, in.close = f, f.Close
	}
	if f, ok := in.Reader.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			in.size = info.Size()
		}
	}
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(errInterrupted) })
	go pump(w, in.Reader) // may wait for the standard input until the process ends
	in.Reader = r
	return in, nil
}

// pump copies r to w, in larger pieces than io.Copy does.
func pump(w *io.PipeWriter, r io.Reader) {
	_, err := io.CopyBuffer(w, onlyReader{r}, make([]byte, inputBytes))
	w.CloseWithError(err)
}

// onlyReader hides what else an *os.File can do, which io.CopyBuffer prefers to its buffer.
type onlyReader struct{ io.Reader }
