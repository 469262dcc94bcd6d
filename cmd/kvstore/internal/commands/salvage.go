package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/inspect"
)

func newSalvage(a *app) *cobra.Command {
	var (
		output    = tableFormat
		untilLoss bool
	)
	cmd := &cobra.Command{
		Use:   "salvage SRC DST",
		Short: "Make a new store of what a damaged one still has",
		Long: `Make a new store in DST, which must be empty or not there, of all that can be proven in
SRC. Nothing is written to SRC, and no lock is taken; --dir is not looked at.

What counts is what checksums vouch for. The new store begins with the newest snapshot
that is whole and goes on with all whole groups of the log (a group is what one fsync made
durable), in their order. Of a newer snapshot that is damaged, its whole blocks are
taken, which are right as of its time, unless the log has all that it covers anyway.

The account tells what is lost: groups that are missing, with the time when they were
written, and keys of snapshots. Every key that a missing group has set or deleted
has an older value in the new store, or is there though it was deleted, if no later group
wrote to it. With --until-loss the salvage ends before the first group that is
missing: what comes out is older, but it is a state that the store once had.

Keys get new versions. The exit code is 0 if nothing was lost, 3 if something was, and
the new store is there, sound, in both cases. After any other exit code there is none.
A file that cannot be read is lost as a whole: copy a failing disk with other tools first.`,
		Example: `  kvstore salvage data saved
  kvstore salvage --until-loss -o json data saved > account.json`,
		Args: takes(2, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			ctx, release := interruptible(context.Background())
			defer release()
			return a.salvage(ctx, args[0], args[1], untilLoss, output)
		},
	}
	output.add(cmd)
	cmd.Flags().BoolVar(&untilLoss, "until-loss", false, "end before the first group that is missing")
	return cmd
}

func (a *app) salvage(ctx context.Context, source, target string, untilLoss bool, output format) error {
	bar := &progress{}
	account, err := inspect.Salvage(ctx, source, target, untilLoss, func(done, total int64) {
		if bar.bar == nil {
			bar = a.progress("salvage", total, inBytes)
		}
		bar.show("salvage", done)
	})
	bar.end()
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	if err := a.report(output, salvageReport{account}); err != nil {
		return err
	}
	if account.Lossy {
		return fmt.Errorf("%w: not all of it could be salvaged", kvstore.ErrCorrupt)
	}
	return nil
}

// salvageReport prints an inspect.Account.
type salvageReport struct{ *inspect.Account }

func (r salvageReport) rows() []row {
	rows := []row{
		{"source", r.Source, ""},
		{"target", r.Target, ""},
	}
	for i := range r.Damage {
		rows = append(rows, row{"damage", r.Damage[i].File, damageText(&r.Damage[i])})
	}
	taken := fmt.Sprintf("%s writes of %s groups of the log", humanize.Comma(int64(r.Entries)), humanize.Comma(int64(r.Groups)))
	if r.Pairs > 0 {
		taken = fmt.Sprintf("%s keys of snapshots and %s", humanize.Comma(int64(r.Pairs)), taken)
	}
	rows = append(rows, row{"taken", r.Groups, taken}, row{"keys", r.Keys, humanize.Comma(int64(r.Keys))})
	verdict := "nothing is lost"
	switch {
	case r.Stopped:
		verdict = fmt.Sprintf("the new store has the state after group %d; there was more", r.Last)
	case r.Lossy:
		verdict = "something is lost: keys that the missing groups wrote may be missing, have older values, or be there though they were deleted"
	}
	return append(rows, row{"verdict", r.Lossy, verdict})
}
