package commands

import (
	"context"

	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/inspect"
)

func newSnapshot(a *app) *cobra.Command {
	output := tableFormat
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Write a snapshot and remove the log that it covers",
		Long: `Write a snapshot into the data directory and remove the log that it covers, so that the
next opener has nothing to replay. This helps after a crash, or before the directory is
copied. If there is no log to cover, nothing is written. The store must exist.`,
		Example: `  kvstore snapshot
  kvstore snapshot -o json`,
		Args: argCount(0, 0),
		RunE: func(*cobra.Command, []string) error { return a.snapshot(output) },
	}
	output.add(cmd)
	return cmd
}

func (a *app) snapshot(output outputFormat) error {
	dir, err := a.dataDir()
	if err != nil {
		return err
	}
	err = a.withWriter(toWrite, func(ctx context.Context, s *kvstore.Store) error {
		return s.Snapshot(context.WithoutCancel(ctx)) // Close would wait for it anyway
	})
	if err != nil {
		return err
	}
	files, err := inspect.ListFiles(dir)
	if err != nil {
		return err
	}
	return a.report(output, snapshotReport{files.Snapshots})
}

// snapshotReport is the output of snapshot.
type snapshotReport struct {
	Snapshots []inspect.FileSize `json:"snapshots"`
}

func (r snapshotReport) rows() []row { return fileRows("snapshot", r.Snapshots) }
