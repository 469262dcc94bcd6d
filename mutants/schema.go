package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A mutant schema is a program that contains all mutants and chooses one when
// it runs. It saves a build for each fault, which takes far longer than most
// tests. Here the choice is made function by function: writeSchema renames a
// function that has faults, adds a copy of it for each fault, and puts a
// function in its place that calls one of them.

// writeSchema plants all faults in a copy of the repository, where they sleep
// until one is chosen. Those that a copy of a function cannot hold are marked
// as alone: a fault of a constant, a variable, a type or a signature, or of a
// function that recovers from a panic, which works only if defer calls it.
func writeSchema(dir string, list []*planted) error {
	files := map[*source]*schemaFile{}
	for i, p := range list {
		p.number = i + 1
		copies, err := p.copies()
		if err != nil {
			return err
		}
		p.alone = copies == nil
		for _, c := range copies {
			if files[c.source] == nil {
				files[c.source] = &schemaFile{copies: map[string][]functionCopy{}}
			}
			files[c.source].add(c)
		}
	}
	packages := map[string]string{} // the names of those with faults, by directory
	for s, f := range files {
		text, err := f.text(s)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.FromSlash(s.path)), text, 0o600)
		}
		if err != nil {
			return err
		}
		packages[s.dir] = s.pkg
	}
	var errs []error
	for rel, name := range packages {
		file := filepath.Join(dir, filepath.FromSlash(rel), "planted_fault.go")
		errs = append(errs, os.WriteFile(file, []byte("package "+name+choice), 0o600))
	}
	return errors.Join(errs...)
}

// marker is in each binary with faults. Its digits are the number of the fault
// that is chosen, 0 for none. To choose one, choose overwrites them: so the
// fault is also there in processes that a test starts with the same program.
const marker = "planted fault 0000"

// choice is the end of a file that each package with faults has.
const choice = `

var plantedFaultMarker = "` + marker + `"

var plantedFault = func() (n int) {
	for _, digit := range plantedFaultMarker[len(plantedFaultMarker)-4:] {
		n = 10*n + int(digit-'0')
	}
	return n
}()
`

// functionCopy is a function as one fault changes it.
type functionCopy struct {
	*source
	name   string // as in the tree: "View.Get"
	number int    // of the fault
	text   string // with a name of its own
}

// copies returns the functions that a fault changes, or nil if it changes
// something else.
func (p *planted) copies() ([]functionCopy, error) {
	var all []functionCopy
	for _, d := range p.changed {
		if slices.ContainsFunc(all, func(c functionCopy) bool { return c.source == d.source && c.name == d.name }) {
			continue // another edit of the same function
		}
		sound, err := findFunction(d.path, d.text, d.name)
		if err != nil {
			return nil, err
		}
		broken, err := findFunction(d.path, p.broken[d.path], d.name)
		if err != nil {
			return nil, err
		}
		if sound == nil || broken == nil || sound.signature() != broken.signature() || broken.recovers() {
			return nil, nil
		}
		all = append(all, functionCopy{
			source: d.source,
			name:   d.name,
			number: p.number,
			text:   broken.renamed(p.number),
		})
	}
	return all, nil
}

// schemaFile is a file with faults.
type schemaFile struct {
	copies map[string][]functionCopy // by the name of the function
}

func (f *schemaFile) add(c functionCopy) { f.copies[c.name] = append(f.copies[c.name], c) }

// text returns the text of the file with all its faults. A function that has
// some gets another name where it is; what is new follows at the end.
func (f *schemaFile) text(s *source) ([]byte, error) {
	var names []span
	var added strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f.copies)) { // the same text each time, for the go tool's cache
		sound, err := findFunction(s.path, s.text, name)
		if err != nil {
			return nil, err
		}
		names = append(names, sound.nameSpan(0))
		var numbers []int
		for _, c := range f.copies[name] {
			numbers = append(numbers, c.number)
			added.WriteString("\n" + c.text + "\n")
		}
		added.WriteString("\n" + sound.chooser(numbers) + "\n")
	}
	text, err := replace(s.text, names)
	return append(text, added.String()...), err
}

// function is a function in the text of its file.
type function struct {
	*ast.FuncDecl
	file *token.File
	src  []byte
}

// findFunction returns a function or method by its name in the tree, nil if the
// file has none.
func findFunction(path string, src []byte, name string) (*function, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range f.Decls {
		if d, ok := decl.(*ast.FuncDecl); ok && d.Body != nil && funcName(d) == name {
			return &function{FuncDecl: d, file: set.File(d.Pos()), src: src}, nil
		}
	}
	return nil, nil
}

// part returns the text from one position to another.
func (f *function) part(from, to token.Pos) string {
	return string(f.src[f.file.Offset(from):f.file.Offset(to)])
}

// text returns the text of a node.
func (f *function) text(n ast.Node) string { return f.part(n.Pos(), n.End()) }

// signature returns the text before the body.
func (f *function) signature() string { return f.part(f.Pos(), f.Body.Pos()) }

// recovers reports whether the function may recover from a panic.
func (f *function) recovers() bool { return strings.Contains(f.text(f.Body), "recover()") }

// copyName returns the name of the function with a fault, 0 for none.
func (f *function) copyName(number int) string { return fmt.Sprintf("fault%d_%s", number, f.Name.Name) }

// nameSpan replaces the function's name.
func (f *function) nameSpan(number int) span {
	return span{f.file.Offset(f.Name.Pos()), f.file.Offset(f.Name.End()), f.copyName(number)}
}

// renamed returns the text of the function with another name.
func (f *function) renamed(number int) string {
	return f.part(f.Pos(), f.Name.Pos()) + f.copyName(number) + f.part(f.Name.End(), f.End())
}

// chooser returns a function with the name and the signature of this one, which
// calls the copy with the fault that is chosen.
func (f *function) chooser(faults []int) string {
	var receiver, typeParams, typeArgs, results, call string
	if f.Recv != nil {
		receiver = "(fault_recv " + f.text(f.Recv.List[0].Type) + ") "
		call = "fault_recv."
	}
	if list := f.Type.TypeParams; list != nil {
		var names []string
		for _, field := range list.List {
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
		typeParams, typeArgs = f.text(list), "["+strings.Join(names, ", ")+"]"
	}
	if f.Type.Results != nil {
		results = f.text(f.Type.Results)
		call = "return " + call
	}
	params, args := f.parameters()
	var b strings.Builder
	fmt.Fprintf(&b, "func %s%s%s(%s) %s {\n", receiver, f.Name.Name, typeParams, params, results)
	b.WriteString("\tswitch plantedFault {\n")
	for _, number := range faults {
		fmt.Fprintf(&b, "\tcase %d:\n\t\t%s%s%s(%s)\n", number, call, f.copyName(number), typeArgs, args)
	}
	fmt.Fprintf(&b, "\tdefault:\n\t\t%s%s%s(%s)\n\t}\n}", call, f.copyName(0), typeArgs, args)
	return b.String()
}

// parameters returns the parameters with names of our own, since some have
// none, and the arguments that pass them on.
func (f *function) parameters() (params, args string) {
	var all, names []string
	for _, field := range f.Type.Params.List {
		for range max(1, len(field.Names)) {
			name := fmt.Sprint("fault_arg", len(all))
			all = append(all, name+" "+f.text(field.Type))
			if _, ok := field.Type.(*ast.Ellipsis); ok {
				name += "..."
			}
			names = append(names, name)
		}
	}
	return strings.Join(all, ", "), strings.Join(names, ", ")
}
