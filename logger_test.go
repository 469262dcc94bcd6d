package kvstore_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// levels are the functions that log, and the level at which they do.
var levels = map[string]string{
	"Info": "Info", "Warn": "Warn", "Error": "Error",
	"inform": "Info", "warn": "Warn", "report": "Error",
}

// OPERATIONS lists each line that a store logs, with its level.
func TestLogLinesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	row := regexp.MustCompile("(?m)^\\| `(kvstore: [^`]+)` \\| (Info|Warn|Error) \\|")
	for _, found := range row.FindAllSubmatch(page, -1) {
		listed = append(listed, string(found[2])+" "+string(found[1]))
	}
	slices.Sort(listed)
	logged := logLines(t)
	if !slices.Equal(listed, logged) {
		t.Errorf("OPERATIONS.md lists\n%s\nand the store logs\n%s",
			strings.Join(listed, "\n"), strings.Join(logged, "\n"))
	}
}

// logLines returns the levels and messages of all calls in this package that
// log, sorted.
func logLines(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for n := range ast.Preorder(file) {
			if line, ok := logLine(n); ok {
				found[line] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// logLine returns the level and the message of a call that logs.
func logLine(n ast.Node) (line string, ok bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || levels[selector.Sel.Name] == "" {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	message, err := strconv.Unquote(literal.Value)
	return levels[selector.Sel.Name] + " " + message, err == nil
}
