package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// typeChecker type-checks packages with a fault in them. It takes the packages
// that they import from what the go tool has compiled, so a fault takes
// milliseconds and not the seconds of a build.
type typeChecker struct {
	root     string                    // of the repository
	packages map[string]*listedPackage // of the repository, by directory relative to root
	exports  map[string]string         // export data of every package, by import path
}

// listedPackage is what the checker needs of the output of go list.
type listedPackage struct {
	ImportPath string
	Dir        string
	Export     string
	GoFiles    []string
}

// newTypeChecker compiles the modules in these directories.
func newTypeChecker(root string, modules []string) (*typeChecker, error) {
	c := &typeChecker{root: root, packages: map[string]*listedPackage{}, exports: map[string]string{}}
	for _, module := range modules {
		cmd := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles", "./...")
		cmd.Dir = filepath.Join(root, filepath.FromSlash(module))
		cmd.Env = append(os.Environ(), "GOWORK=off")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list in %s: %w", module, err)
		}
		if err := c.add(out); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// add takes in the output of go list for one module.
func (c *typeChecker) add(list []byte) error {
	root, err := filepath.Abs(c.root)
	if err != nil {
		return err
	}
	for d := json.NewDecoder(bytes.NewReader(list)); ; {
		p := &listedPackage{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.Export != "" {
			c.exports[p.ImportPath] = p.Export
		}
		if rel, err := filepath.Rel(root, p.Dir); err == nil {
			c.packages[filepath.ToSlash(rel)] = p
		}
	}
}

// check reports why a package does not compile with a fault, if it does not.
func (c *typeChecker) check(p *planted) error {
	set := token.NewFileSet()
	imports := importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(c.exports[path])
	})
	done := map[string]bool{}
	for _, s := range p.sources {
		pkg := c.packages[s.dir]
		if done[s.dir] || pkg == nil || !s.plain {
			continue // the build of the race detector's files tells
		}
		done[s.dir] = true
		var files []*ast.File
		for _, name := range pkg.GoFiles {
			var text any
			if broken, ok := p.broken[filepath.ToSlash(filepath.Join(s.dir, name))]; ok {
				text = broken
			}
			f, err := parser.ParseFile(set, filepath.Join(pkg.Dir, name), text, parser.SkipObjectResolution)
			if err != nil {
				return p.errorf("%w", err)
			}
			files = append(files, f)
		}
		config := types.Config{Importer: imports}
		if _, err := config.Check(pkg.ImportPath, set, files, nil); err != nil {
			return p.errorf("does not compile with the fault: %w", err)
		}
	}
	return nil
}
