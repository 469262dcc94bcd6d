package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/inspect"
)

func newSalvage(a *app) *cobra.Command {
	var (
		output  = tableFormat
		options inspect.Options
	)
	cmd := &cobra.Command{
		Use:   "salvage SRC DST",
		Short: "Make a new store of what a damaged one still has",
		Long: `Make a new store in DST of everything in SRC that checksums prove. DST must not have a
store; other files in it, such as lost+found, stay. The command writes nothing to SRC
and takes no lock. --dir has no effect.

If an opener accepts SRC, the new store has what the opener would read. Otherwise it
begins with the newest whole snapshot. Then all whole groups of the log follow in their
order (a group is the writes that one fsync made durable). Of a newer snapshot that is
damaged, the command takes the whole blocks, which are right as of its time, unless the
log has everything that the snapshot covers.

The report says what is lost: missing groups, with the time when they were written, and
keys of snapshots. A key that a missing group has set or deleted has an older value in
the new store, or exists though it was deleted, unless a later group wrote to it. With
--until-loss, the command stops before the first missing group: the new store is then
older, but has a state that the old one once had.

The verdict is the worst of all damage:

  none       nothing is lost: an opener accepts SRC. The unfinished write that it would
             drop from the end of the log is left out, and reported
  possible   it is not known whether something is lost: an opener refuses SRC, and
             nothing proves that there was no more
  certain    something is lost

Keys get new versions. The exit code is 0 for none, and 3 for possible and certain; in
all three cases the new store exists and is sound. After any other exit code there is no
new store, and also if a later version of kvstore wrote SRC. A segment that cannot be
read is lost as a whole: copy a failing disk with other tools first.`,
		Example: `  kvstore salvage data saved
  kvstore salvage --until-loss -o json data saved > account.json`,
		Args: argCount(2, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.protect(func(ctx context.Context) error {
				return a.salvage(ctx, args[0], args[1], options, output)
			})
		},
	}
	output.add(cmd)
	cmd.Flags().BoolVar(&options.UntilLoss, "until-loss", false, "stop before the first missing group")
	return cmd
}

func (a *app) salvage(ctx context.Context, source, target string, o inspect.Options, output outputFormat) error {
	bar := a.lazyProgress(inBytes)
	o.Wait, o.Progress = time.Duration(a.wait), func(done, total int64) { bar.show("salvage", done, total) }
	account, err := inspect.Salvage(ctx, source, target, o)
	bar.end()
	if err != nil {
		return interrupted(err)
	}
	if err := a.report(output, salvageReport{account}); err != nil {
		return err
	}
	switch account.Loss {
	case inspect.Certain:
		return fmt.Errorf("%w: not all of it could be salvaged", kvstore.ErrCorrupt)
	case inspect.Possible:
		return fmt.Errorf("%w: it is not known whether all of it could be salvaged", kvstore.ErrCorrupt)
	case inspect.None:
	}
	return nil
}

// salvageReport is the output of salvage.
type salvageReport struct{ *inspect.Account }

func (r salvageReport) rows() []row {
	rows := []row{
		{"source", r.Source, ""},
		{"target", r.Target, ""},
	}
	for i := range r.Damage {
		rows = append(rows, row{"damage", r.Damage[i].File, damageText(&r.Damage[i])})
	}
	if d := r.Dropped; d != nil {
		rows = append(rows, row{"dropped", d.File, droppedText(d) + ": a write that was never finished"})
	}
	taken := fmt.Sprintf("%s of %s of the log", counted(r.Entries, "write"), counted(r.Groups, "group"))
	if r.Pairs > 0 {
		taken = fmt.Sprintf("%s of snapshots and %s", counted(r.Pairs, "key"), taken)
	}
	return append(rows,
		row{"taken", r.Groups, taken},
		row{"keys", r.Keys, humanize.Comma(int64(r.Keys))},
		row{"verdict", r.Loss, r.verdict()})
}

// verdict is the verdict for people.
func (r salvageReport) verdict() string {
	switch {
	case r.Stopped:
		return fmt.Sprintf("the new store has the state after group %d; there was more", r.Last)
	case r.Loss == inspect.Certain:
		return "something is lost: keys that the missing groups wrote may be missing, have older values, " +
			"or be there though they were deleted"
	case r.Loss == inspect.Possible:
		return "it is not known whether something is lost: an opener refuses " + r.Source
	case r.Dropped != nil:
		return "nothing is lost but the unfinished write, which an opener drops, too"
	}
	return "nothing is lost"
}
