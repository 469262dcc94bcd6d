package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// copyTree copies what the tests of all modules need: Go files, go.mod and
// go.sum, testdata, and the Markdown files that tests read.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !d.Type().IsRegular() || !isNeeded(filepath.ToSlash(rel)) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
}

// isNeeded reports whether a file is one that tests need.
func isNeeded(name string) bool {
	switch filepath.Ext(name) {
	case ".go", ".s", ".mod", ".sum", ".md":
		return true
	}
	return strings.Contains(name, "testdata/")
}
