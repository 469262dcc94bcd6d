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
		Long: `Write the whole store to FILE or, with -, to the standard output. The backup is a
snapshot file, from which restore makes a store. All of it has checksums, which restore
verifies. Keys keep their deadlines.

FILE gets its name when all of it is on disk. If anything fails before, or SIGINT comes,
an existing file of that name stays as it is. The new one has its mode and its owner.
Pipes, devices and /dev/stdout are written in place.

This opens the store read-only. If a program has the store open, that program can make
the backup, with View.WriteTo.`,
		Example: `  kvstore backup monday.kvs
  kvstore backup - | zstd | ssh backup 'cat > monday.kvs.zst'`,
		Args: argCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.backup(args[0]) },
	}
}

func (a *app) backup(file string) error {
	if file == "-" && isTerminal(a.stdout.w) {
		return usageError{errors.New("a backup is binary, and nothing for a terminal")}
	}
	out, err := a.output(file)
	if err != nil {
		return err
	}
	return a.withView(func(_ *kvstore.Store, v *kvstore.View) error {
		return out.write(func(w *bufio.Writer) error {
			_, err := v.WriteTo(w)
			return err
		})
	})
}

func newRestore(a *app) *cobra.Command {
	var options kvstore.RestoreOptions
	cmd := &cobra.Command{
		Use:   "restore FILE|- DIR",
		Short: "Make a store of a backup",
		Long: `Make a store in DIR from a backup, or from a snapshot file of a data directory. DIR is
created if it does not exist; it must not have a store. --dir has no effect.

Keys keep their deadlines, so those whose deadline has passed since the backup are gone.
With --no-expire, no key has a deadline: all keys of the backup are there, and stay.

The command reads and verifies all of the backup before DIR has a store. If anything
fails, or SIGINT comes, everything in DIR is as it was before.`,
		Example: `  kvstore restore monday.kvs data
  zstdcat monday.kvs.zst | kvstore restore - data`,
		Args: argCount(2, 2),
		RunE: func(_ *cobra.Command, args []string) error { return a.restore(args[0], args[1], options) },
	}
	cmd.Flags().BoolVar(&options.NoExpire, "no-expire", false, "drop all deadlines: the keys stay")
	return cmd
}

func (a *app) restore(file, dir string, options kvstore.RestoreOptions) error {
	in, err := a.input(file)
	if err != nil {
		return err
	}
	err = a.protect(func(ctx context.Context) error {
		backup := in.until(ctx)
		// Restore reads nothing of the backup before it has the lock.
		return a.whenUnlocked(ctx, func() error { return kvstore.RestoreWithOptions(dir, backup, options) })
	})
	return errors.Join(err, in.close())
}
