// Command columns guards the width of prose: comments in Go files and Markdown
// wrap at 80 columns, with a tab of 4. The linter lll guards code. Tables, code
// blocks, headings, link definitions and generated reports may be wider, and so
// may a line that has no space to break at.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

const columns = 80

// generated are reports that a program writes.
var generated = map[string]bool{"docs/BENCHMARKS.md": true}

var (
	directive = regexp.MustCompile(`^\s*//(go:|nolint|line )`)
	comment   = regexp.MustCompile(`^\s*// \S`)
	free      = regexp.MustCompile(`^( {4}|\t| *\||#|\s*\[[^\]]*\]: )`) // of Markdown
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	wide, err := check(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "columns:", err)
		os.Exit(2)
	}
	if wide > 0 {
		fmt.Fprintf(os.Stderr, "columns: %d lines of prose are wider than %d columns\n", wide, columns)
		os.Exit(1)
	}
}

// check prints the lines that are too wide, and returns how many there are.
func check(root string) (wide int, err error) {
	list := exec.Command("git", "ls-files", "*.go", "*.md")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		return 0, err
	}
	for name := range strings.FieldsSeq(string(out)) {
		if generated[name] {
			continue
		}
		n, err := checkFile(root, name)
		if err != nil {
			return wide, err
		}
		wide += n
	}
	return wide, nil
}

func checkFile(root, name string) (wide int, err error) {
	f, err := os.Open(filepath.Join(root, name))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	isMarkdown, inCode := strings.HasSuffix(name, ".md"), false
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for number := 1; scanner.Scan(); number++ {
		line := strings.ReplaceAll(scanner.Text(), "\t", "    ")
		if isMarkdown && strings.HasPrefix(strings.TrimSpace(line), "```") {
			inCode = !inCode
		}
		isProse := comment.MatchString(line) && !directive.MatchString(line)
		if isMarkdown {
			isProse = !inCode && !free.MatchString(line)
		}
		if n := utf8.RuneCountInString(line); isProse && n > columns && breakable(line) {
			fmt.Printf("%s:%d: %d columns\n", name, number, n)
			wide++
		}
	}
	return wide, scanner.Err()
}

// breakable reports whether a line has a space between two words before the
// limit.
func breakable(line string) bool {
	words := strings.Fields(strings.TrimLeft(line, " /*->"))
	return len(words) > 1 && utf8.RuneCountInString(words[0]) < columns-10
}
