package commands

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// dumpFormat is what dump writes and load reads.
type dumpFormat interface {
	lineFormat
	parse(line []byte) (key string, value []byte, err error) // value may be a part of line
}

// dumpFlags choose a dumpFormat.
type dumpFlags struct {
	encodingFlags
	name formatName
}

func (f *dumpFlags) add(cmd *cobra.Command) {
	f.encodingFlags.add(cmd)
	cmd.Flags().VarP(&f.name, "format", "f", "`format` of the lines: "+strings.Join(formatNames, ", ")+" (default by the name of FILE, else ndjson)")
	complete := cobra.FixedCompletions(formatNames, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("format", complete); err != nil {
		panic(err) // there is no flag of this name: a mistake in the lines above
	}
}

// format returns the format for a file of this name.
func (f *dumpFlags) format(file string) dumpFormat {
	if f.name == "tsv" || f.name == "" && filepath.Ext(file) == ".tsv" {
		return tsv{f.encoding()}
	}
	return ndjson{f.encoding()}
}

var formatNames = []string{"ndjson", "tsv"}

// formatName is one of formatNames, or "".
type formatName string

// String, Set and Type make formatName a flag.
func (n *formatName) String() string { return string(*n) }
func (n *formatName) Type() string   { return "format" }
func (n *formatName) Set(text string) error {
	if !slices.Contains(formatNames, text) {
		return errors.New("must be one of " + strings.Join(formatNames, ", "))
	}
	*n = formatName(text)
	return nil
}
