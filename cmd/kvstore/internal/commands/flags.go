package commands

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kvstore/cmd/kvstore/internal/lines"
)

// encodingFlags are --hex and --base64.
type encodingFlags struct{ hex, base64 bool }

func (f *encodingFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.hex, "hex", false, "keys and values are in hexadecimal, in arguments, input and output")
	cmd.Flags().BoolVar(&f.base64, "base64", false, "keys and values are in base64, in arguments, input and output")
	cmd.MarkFlagsMutuallyExclusive("hex", "base64")
}

func (f *encodingFlags) encoding() lines.Encoding {
	switch {
	case f.hex:
		return lines.Hex
	case f.base64:
		return lines.Base64
	default:
		return lines.Plain
	}
}

// keys decodes arguments that are keys.
func (f *encodingFlags) keys(args []string) ([]string, error) {
	keys := make([]string, len(args))
	for i, arg := range args {
		key, err := f.decode("key", arg)
		if err != nil {
			return nil, err
		}
		keys[i] = string(key)
	}
	return keys, nil
}

// decode decodes an argument; what names it in an error.
func (f *encodingFlags) decode(what, text string) ([]byte, error) {
	b, err := f.encoding().Decode(text)
	if err != nil {
		return nil, usagef("%s %q: %w", what, text, err)
	}
	return b, nil
}

// dumpFlags are the flags of dump and load: the encoding, and --format.
type dumpFlags struct {
	encodingFlags
	format dumpFormat
}

func (f *dumpFlags) add(cmd *cobra.Command) {
	f.encodingFlags.add(cmd)
	cmd.Flags().VarP(&f.format, "format", "f",
		"`format` of the lines: "+strings.Join(dumpFormats, ", ")+" (default by the name of FILE, else ndjson)")
	completeWith(cmd, "format", dumpFormats)
}

// codec returns the format for a file of this name.
func (f *dumpFlags) codec(file string) lines.Codec {
	if f.format == "tsv" || f.format == "" && filepath.Ext(file) == ".tsv" {
		return lines.TSV{Encoding: f.encoding()}
	}
	return lines.NDJSON{Encoding: f.encoding()}
}

var dumpFormats = []string{"ndjson", "tsv"}

// dumpFormat is the value of --format: one of dumpFormats, or "".
type dumpFormat string

// String, Type and Set make dumpFormat a flag.
func (f *dumpFormat) String() string        { return string(*f) }
func (f *dumpFormat) Type() string          { return "format" }
func (f *dumpFormat) Set(text string) error { return setOneOf(f, text, dumpFormats) }

// outputFormat is the value of -o: a way to print results.
type outputFormat string

const (
	tableFormat  outputFormat = "table"
	jsonFormat   outputFormat = "json"
	ndjsonFormat outputFormat = "ndjson"
	rawFormat    outputFormat = "raw"
)

var outputFormats = []string{string(tableFormat), string(jsonFormat), string(ndjsonFormat), string(rawFormat)}

// add adds the flag -o to a command, with *f as the default.
func (f *outputFormat) add(cmd *cobra.Command) {
	cmd.Flags().VarP(f, "output", "o", "`format` of the output: "+strings.Join(outputFormats, ", "))
	completeWith(cmd, "output", outputFormats)
}

// String, Type and Set make outputFormat a flag.
func (f *outputFormat) String() string        { return string(*f) }
func (f *outputFormat) Type() string          { return "format" }
func (f *outputFormat) Set(text string) error { return setOneOf(f, text, outputFormats) }

// reportFlags are -o, with a table as the default, and --json.
type reportFlags struct {
	output outputFormat
	json   bool
}

func (f *reportFlags) add(cmd *cobra.Command) {
	f.output = tableFormat
	f.output.add(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "the same as -o json")
	cmd.MarkFlagsMutuallyExclusive("json", "output")
}

func (f *reportFlags) format() outputFormat {
	if f.json {
		return jsonFormat
	}
	return f.output
}

// waitFlag is the value of --wait: a duration, and not a negative one.
type waitFlag time.Duration

// String, Type and Set make waitFlag a flag.
func (f *waitFlag) String() string {
	if *f == 0 {
		return "" // so that help shows no default
	}
	return time.Duration(*f).String()
}

func (f *waitFlag) Type() string { return "duration" }

func (f *waitFlag) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("must not be negative")
	}
	*f = waitFlag(d)
	return err
}

// setOneOf sets a flag to text, which must be one of values.
func setOneOf[T ~string](flag *T, text string, values []string) error {
	if !slices.Contains(values, text) {
		return errors.New("must be one of " + strings.Join(values, ", "))
	}
	*flag = T(text)
	return nil
}

// completeWith has shells complete a flag with values.
func completeWith(cmd *cobra.Command, flag string, values []string) {
	complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the command has no flag of this name: a mistake in its constructor
	}
}
