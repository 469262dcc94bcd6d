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
		Long: `Delete keys, all of them together or, if something fails, none. A key that is absent is
no error. When the command ends with 0, the deletion is on disk.

The store is opened and closed for this, which takes as long as reading all of it and
writing a snapshot.`,
		Example: `  kvstore delete greeting
  kvstore delete a b c`,
		Args: takes(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := flags.encoding().keys(args)
			if err != nil {
				return err
			}
			return a.writing(func(ctx context.Context, s *kvstore.Store) error {
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
