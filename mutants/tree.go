package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// tree is the Go source of the repository: every package of every module.
type tree struct {
	decls map[string][]declaration // by their names without a package
	tests map[string][]*source     // the files that define a test
}

// source is a Go file.
type source struct {
	path   string // relative to the root, as are the other two
	dir    string // the package's
	module string // its directory
	pkg    string // the package's name
	text   []byte
	plain  bool // built for linux/amd64 without the race detector
	raced  bool // built for linux/amd64 with it
}

// declaration is a function, method, constant, variable or type.
type declaration struct {
	*source
	name       string // "Open", "View.Get", "const flushBytes"
	start, end int    // offsets of its lines in the text
}

// builtFor reports whether the file is part of its package in a layer.
func (s *source) builtFor(l layer) bool {
	if l.race {
		return s.raced
	}
	return s.plain
}

// readTree parses all Go files below a directory. Like the go tool, it passes
// over testdata and directories that begin with a dot or an underscore.
func readTree(root string) (*tree, error) {
	t := &tree{decls: map[string][]declaration{}, tests: map[string][]*source{}}
	modules := map[string]string{".": "."} // of each directory
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case rel == ".":
			return nil
		case !d.IsDir():
			return t.readFile(root, rel, modules[path.Dir(rel)])
		case d.Name() == "testdata" || d.Name()[0] == '.' || d.Name()[0] == '_':
			return fs.SkipDir
		}
		modules[rel] = modules[path.Dir(rel)]
		if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil {
			modules[rel] = rel
		}
		return nil
	})
	return t, err
}

// readFile adds the declarations of a file, if it is a Go file.
func (t *tree) readFile(root, rel, module string) error {
	if path.Ext(rel) != ".go" {
		return nil
	}
	file := filepath.Join(root, filepath.FromSlash(rel))
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	s := &source{path: rel, dir: path.Dir(rel), module: module, text: text}
	plain := build.Default
	plain.GOOS, plain.GOARCH = "linux", "amd64"
	raced := plain
	raced.BuildTags = append(slices.Clone(plain.BuildTags), "race")
	var errs [2]error
	s.plain, errs[0] = plain.MatchFile(filepath.Dir(file), filepath.Base(file))
	s.raced, errs[1] = raced.MatchFile(filepath.Dir(file), filepath.Base(file))
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, rel, text, parser.SkipObjectResolution)
	if err := errors.Join(err, errs[0], errs[1]); err != nil {
		return err
	}
	s.pkg = parsed.Name.Name
	for _, decl := range parsed.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if strings.HasSuffix(rel, "_test.go") {
				t.tests[d.Name.Name] = append(t.tests[d.Name.Name], s)
			} else {
				t.add(s, set, funcName(d), d)
			}
		case *ast.GenDecl:
			if !strings.HasSuffix(rel, "_test.go") {
				t.addSpecs(s, set, d)
			}
		}
	}
	return nil
}

// funcName returns "Open" for a function and "View.Get" for a method.
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	recv := d.Recv.List[0].Type
	for {
		switch r := recv.(type) {
		case *ast.StarExpr:
			recv = r.X
		case *ast.IndexExpr:
			recv = r.X
		case *ast.IndexListExpr:
			recv = r.X
		case *ast.Ident:
			return r.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// addSpecs adds the constants, variables or types of a declaration.
func (t *tree) addSpecs(s *source, set *token.FileSet, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		var node ast.Node = spec
		if !d.Lparen.IsValid() {
			node = d
		}
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			t.add(s, set, "type "+spec.Name.Name, node)
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				t.add(s, set, d.Tok.String()+" "+name.Name, node)
			}
		}
	}
}

// add adds the declaration whose lines those of a node are.
func (t *tree) add(s *source, set *token.FileSet, name string, node ast.Node) {
	start, end := set.Position(node.Pos()).Offset, set.Position(node.End()).Offset
	t.decls[name] = append(t.decls[name], declaration{
		source: s,
		name:   name,
		start:  lineStart(s.text, start),
		end:    lineEnd(s.text, end),
	})
}

// find returns the declaration with a name. Where several packages declare the
// name, it must begin with that of a package: "table.View.Get",
// "const table.minSlots".
func (t *tree) find(name string, l layer) (declaration, error) {
	found := slices.Clone(t.decls[name])
	keyword := strings.IndexByte(name, ' ') + 1 // 0 if there is none
	if pkg, rest, ok := strings.Cut(name[keyword:], "."); ok {
		for _, d := range t.decls[name[:keyword]+rest] {
			if d.pkg == pkg {
				found = append(found, d)
			}
		}
	}
	built := slices.DeleteFunc(slices.Clone(found), func(d declaration) bool { return !d.builtFor(l) })
	switch {
	case len(built) == 1:
		return built[0], nil
	case len(built) > 1:
		return declaration{}, fmt.Errorf("%q is ambiguous: %s", name, describe(built))
	case len(found) > 0:
		return declaration{}, fmt.Errorf("%q is not built for linux/amd64 in this layer: %s", name, describe(found))
	}
	return declaration{}, fmt.Errorf("there is no %q", name)
}

// describe names declarations with their packages and files.
func describe(decls []declaration) string {
	var names []string
	for _, d := range decls {
		names = append(names, fmt.Sprintf("%s in package %s, %s", d.name, d.pkg, d.path))
	}
	return strings.Join(names, "; ")
}

// findTests returns a file of the package that defines all the tests.
func (t *tree) findTests(names []string, l layer) (*source, error) {
	var pkg *source
	for _, name := range names {
		name, _, _ = strings.Cut(name, "/") // a subtest
		var found *source
		for _, s := range t.tests[name] {
			switch {
			case !s.builtFor(l):
			case found != nil:
				return nil, fmt.Errorf("test %s is ambiguous: %s and %s", name, found.path, s.path)
			default:
				found = s
			}
		}
		switch {
		case found == nil:
			return nil, fmt.Errorf("there is no test %s", name)
		case pkg != nil && pkg.dir != found.dir:
			return nil, fmt.Errorf("tests of several packages: %s and %s", pkg.path, found.path)
		}
		pkg = found
	}
	return pkg, nil
}
