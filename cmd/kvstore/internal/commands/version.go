package commands

import (
	"github.com/spf13/cobra"

	"kvstore/cmd/kvstore/internal/version"
)

func newVersion(a *app) *cobra.Command {
	output := tableFormat
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Print what this program was built from: the version of the module, the commit if the
build knew it, the version of Go, and the platform.`,
		Example: `  kvstore version
  kvstore version -o json`,
		Args: argCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return a.report(output, versionReport{version.Build()})
		},
	}
	output.add(cmd)
	return cmd
}

// versionReport is the output of version.
type versionReport struct{ version.Info }

func (r versionReport) rows() []row {
	rows := []row{{name: "version", value: r.Version}}
	if r.Commit != "" {
		commit := r.Commit
		if r.Modified {
			commit += " (modified)"
		}
		rows = append(rows, row{name: "commit", value: commit})
	}
	return append(rows, row{name: "go", value: r.Go}, row{name: "platform", value: r.Platform})
}
