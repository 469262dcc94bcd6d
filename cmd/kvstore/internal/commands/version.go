package commands

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
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
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return a.report(output, buildVersion())
		},
	}
	output.add(cmd)
	return cmd
}

// versionReport is what version prints.
type versionReport struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitzero"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() versionReport {
	r := versionReport{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return r
	}
	r.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			r.Commit = s.Value
		case "vcs.modified":
			r.Modified = s.Value == "true"
		}
	}
	return r
}

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
