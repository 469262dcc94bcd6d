package commands

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a writer that waits until it is opened.
type gate struct {
	open    chan struct{}
	written bytes.Buffer
}

func (g *gate) Write(b []byte) (int, error) {
	<-g.open
	return g.written.Write(b)
}

// TestStreamInterrupted: after a signal, a write waits for its reader as long
// as the stream has patience, and the caller may reuse the bytes that it has
// left behind. What is written without delay is written all the same, except
// where there is no patience.
func TestStreamInterrupted(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			g := &gate{open: make(chan struct{})}
			s := &stream{w: g, ctx: ctx, patience: patience}
			go func() {
				synctest.Wait() // for Write
				cancel()
			}()
			began, text := time.Now(), []byte("stuck")
			if n, err := s.Write(text); n != 0 || !errors.Is(err, errInterrupted) {
				t.Errorf("%d, %v", n, err)
			}
			if took := time.Since(began); took != patience {
				t.Errorf("it waits for %v", took)
			}
			copy(text, "xxxxx")
			close(g.open)
			synctest.Wait()
			if g.written.String() != "stuck" {
				t.Errorf("what was left behind writes %q", &g.written)
			}
			if n, err := s.Write(text); n != 0 || !errors.Is(err, errInterrupted) {
				t.Errorf("after an error: %d, %v", n, err)
			}
			late := &stream{w: &g.written, ctx: ctx, patience: patience}
			if _, err := io.WriteString(late, "late"); errors.Is(err, errInterrupted) != (patience == 0) {
				t.Errorf("a late write: %v", err)
			}
		})
	}
}

// A stream writes everything, in order, and reports its first error from then
// on.
func TestStream(t *testing.T) {
	var out bytes.Buffer
	s := &stream{w: &out, ctx: t.Context()}
	var want []byte
	for _, size := range []int{0, 1, outputBytes - 1, outputBytes, 3*outputBytes + 1} {
		b := bytes.Repeat([]byte{byte(size)}, size)
		want = append(want, b...)
		if n, err := s.Write(b); n != size || err != nil {
			t.Errorf("%d of %d, %v", n, size, err)
		}
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%d bytes, want %d", out.Len(), len(want))
	}
	r, w := io.Pipe()
	full := errors.New("full")
	r.CloseWithError(full)
	s = &stream{w: w, ctx: t.Context()}
	for range 2 {
		if n, err := s.Write([]byte("x")); n != 0 || !errors.Is(err, full) || !errors.Is(s.err, full) {
			t.Errorf("%d, %v", n, err)
		}
	}
}
