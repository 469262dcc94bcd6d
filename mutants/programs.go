package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// programs are the built tests of the schema. Each is built once, when it is
// first needed.
type programs struct {
	schema string // the copy of the repository with all faults
	dir    string // for the programs

	mu    sync.Mutex // guards the field below
	built map[program]func() (string, error)
}

// program is what the tests of one package need of their batch to be built.
type program struct {
	dir  string
	race bool
}

// get returns the file of the program with the tests of a batch.
func (ps *programs) get(ctx context.Context, b batch) (string, error) {
	ps.mu.Lock()
	key := program{b.dir, b.layer.race}
	once := ps.built[key]
	if once == nil {
		file := filepath.Join(ps.dir, fmt.Sprint("test", len(ps.built), ".exe"))
		once = sync.OnceValues(func() (string, error) {
			if out, err := ps.compile(ctx, file, b); err != nil {
				return "", fmt.Errorf("%s: %w\n%s", b.dir, err, tail(out))
			}
			return file, nil
		})
		ps.built[key] = once
	}
	ps.mu.Unlock()
	return once()
}

// choose writes the program with the tests of a batch to a file, with the
// number of a fault in it.
func (ps *programs) choose(ctx context.Context, file string, b batch, number int) error {
	sound, err := ps.get(ctx, b)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(sound)
	if err != nil {
		return err
	}
	chosen := fmt.Appendf(nil, "%s%04d", marker[:len(marker)-4], number)
	if !bytes.Contains(text, []byte(marker)) || len(chosen) != len(marker) {
		return fmt.Errorf("fault %d cannot be chosen in the tests of %s", number, b.dir)
	}
	text = bytes.ReplaceAll(text, []byte(marker), chosen)
	// A process that another worker starts meanwhile would hold the file open
	// for writing, and a file that is open for writing cannot be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	_ = os.Remove(file) // a process that a test has left may still run it
	return os.WriteFile(file, text, 0o700)
}

// buildAlone builds the tests of a fault that is not in the schema, with the
// files that it changes in the place of those there.
func (ps *programs) buildAlone(ctx context.Context, file string, p *planted) ([]byte, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, s := range p.sources {
		broken := fmt.Sprint(file, i, ".go")
		if err := os.WriteFile(broken, p.broken[s.path], 0o600); err != nil {
			return nil, err
		}
		overlay.Replace[filepath.Join(ps.schema, filepath.FromSlash(s.path))] = broken
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file+".json", text, 0o600); err != nil {
		return nil, err
	}
	return ps.compile(ctx, file, p.batch(), "-overlay="+file+".json")
}

// compile builds the tests of a batch, without symbols.
func (ps *programs) compile(ctx context.Context, file string, b batch, flags ...string) ([]byte, error) {
	args := append([]string{"test", "-c", "-vet=off", "-ldflags=-s", "-o", file}, flags...)
	if b.layer.race {
		args = append(args, "-race")
	}
	pkg, err := filepath.Rel(filepath.FromSlash(b.module), filepath.FromSlash(b.dir))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+filepath.ToSlash(pkg))...)
	cmd.Dir = filepath.Join(ps.schema, filepath.FromSlash(b.module))
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOGC=400") // the compiler is short-lived: collecting does not pay
	return cmd.CombinedOutput()
}
