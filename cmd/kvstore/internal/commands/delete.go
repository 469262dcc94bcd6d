package commands

import (
	"context"

	"github.com/spf13/cobra"

	"kvstore"
)

func newDelete(a *app) *cobra.Command {
	var flags encodingFlags
	cmd := &cobra.Command{
		Use:   "delete KEY...",
		Short: "Delete keys",
		Long: `Delete keys, all of them or, if something fails, none. An absent key is no error, but a
missing store is. When the exit code is 0, the deletion is on disk.

The command opens and closes the store for this, which takes as long as reading all of
it and writing a snapshot.`,
		Example: `  kvstore delete greeting
  kvstore delete a b c`,
		Args: argCount(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := flags.keys(args)
			if err != nil {
				return err
			}
			return a.withWriter(toWrite, func(ctx context.Context, s *kvstore.Store) error {
				var batch kvstore.Batch
				for _, key := range keys {
					batch.Delete(key)
				}
				return s.Apply(context.WithoutCancel(ctx), &batch)
			})
		},
	}
	flags.add(cmd)
	return cmd
}
