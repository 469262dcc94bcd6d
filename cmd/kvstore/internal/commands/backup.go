package commands

import (
	"bufio"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"kvstore"
)

func newBackup(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE|-",
		Short: "Write the whole store to one file",
		Long: `Write the whole store to FILE or, with -, to the standard output: a snapshot file, of
which restore makes a store. It has checksums throughout, and restore verifies them.

FILE gets its name when all of it is on disk. If anything fails before, or SIGINT comes,
a file that had the name stays as it is.

The store is opened read-only. A store that a program has open is backed up by that
program, with View.WriteTo.`,
		Example: `  kvstore backup monday.kvs
  kvstore backup - | zstd | ssh backup 'cat > monday.kvs.zst'`,
		Args: takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "-" && isTerminal(a.stdout) {
				return usageError{errors.New("a backup is binary, and nothing for a terminal")}
			}
			return a.readingFor(func(ctx context.Context, s *kvstore.Store) error {
				view, err := s.View()
				if err != nil {
					return err
				}
				err = a.output(ctx, args[0], func(w *bufio.Writer) error {
					_, err := view.WriteTo(w)
					return err
				})
				return errors.Join(err, view.Close())
			})
		},
	}
}

func newRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE|- DIR",
		Short: "Make a store of a backup",
		Long: `Make a store in DIR of a backup, or of a snapshot file out of a data directory. DIR is
created if it is not there; there must be no store in it. --dir is not looked at.

The backup is read to its end and verified before DIR has a store. If anything fails, or
SIGINT comes, there is none.`,
		Example: `  kvstore restore monday.kvs data
  zstdcat monday.kvs.zst | kvstore restore - data`,
		Args: takes(2, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			ctx, release := interruptible(context.Background())
			defer release()
			in, err := a.input(ctx, args[0])
			if err != nil {
				return err
			}
			return errors.Join(kvstore.Restore(args[1], in), in.close())
		},
	}
}
