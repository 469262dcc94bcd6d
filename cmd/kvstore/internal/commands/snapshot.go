package commands

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"kvstore"
)

func newSnapshot(a *app) *cobra.Command {
	output := tableFormat
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Write a snapshot and remove the log that it covers",
		Long: `Write a snapshot into the data directory and remove the log that it covers, so that the
next opener has nothing to replay: after a crash, say, or before the directory is copied.
Nothing is written if there is no log to cover. The store must exist.`,
		Example: `  kvstore snapshot
  kvstore snapshot -o json`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			if _, err := os.Stat(dir); err != nil {
				return err // Open would make one
			}
			err = a.writing(func(ctx context.Context, s *kvstore.Store) error {
				return s.Snapshot(context.WithoutCancel(ctx)) // Close would wait for it anyhow
			})
			if err != nil {
				return err
			}
			files, err := listFiles(dir)
			if err != nil {
				return err
			}
			return a.report(output, snapshotReport{files.Snapshots})
		},
	}
	output.add(cmd)
	return cmd
}

// snapshotReport is what snapshot prints.
type snapshotReport struct {
	Snapshots []dataFile `json:"snapshots"`
}

func (r snapshotReport) rows() []row { return fileRows("snapshot", r.Snapshots) }
