package commands

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/inspect"
)

func newVerify(a *app) *cobra.Command {
	var flags reportFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify every checksum on disk",
		Long: `Verify every checksum of every file in the data directory, and print what an opener
would do with it:

  sound          it opens
  repairable     it opens, and drops the incomplete end of the log: a crash has left it,
                 or a store that is open right now has not finished writing it
  corrupt        an opener refuses it: see salvage
  later version  an opener refuses it: a later version of kvstore wrote it
  unreadable     an opener fails: it cannot open or read a file

For damage, the command prints the file and offset, the numbers of missing groups (a
group is the writes that one fsync made durable), the time when they were written, and
the keys that are still readable there. It also verifies files that an opener would not
read; damage in them is harmless.

The command takes no lock and writes nothing, so the store may be open for writing. The
exit code is 0 for sound and repairable, 3 for corrupt and later version, and 5 for
unreadable. An opener opens regular files only, and follows no link out of the
directory.`,
		Example: `  kvstore verify
  kvstore verify -d /mnt/backup/data --json | jq .damage`,
		Args: argCount(0, 0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			return a.verify(dir, flags.format())
		},
	}
	flags.add(cmd)
	return cmd
}

func (a *app) verify(dir string, output outputFormat) error {
	bar := a.lazyProgress(inBytes)
	r, err := inspect.Verify(dir, func(done, total int64) { bar.show("verify", done, total) })
	bar.end()
	if err != nil {
		return err
	}
	if err := a.report(output, verifyReport{r}); err != nil {
		return err
	}
	switch r.Verdict {
	case inspect.Corrupt:
		return fmt.Errorf("%w: %s; see 'kvstore salvage'", kvstore.ErrCorrupt, r.Reason)
	case inspect.Later:
		return fmt.Errorf("%w: %s", kvstore.ErrVersion, r.Reason)
	case inspect.Unreadable:
		return errors.New(r.Reason)
	case inspect.Sound, inspect.Repairable:
	}
	return nil
}

// verifyReport is the output of verify.
type verifyReport struct{ *inspect.Report }

func (r verifyReport) rows() []row {
	var rows []row
	for i := range r.Files {
		rows = append(rows, row{"file", r.Files[i].File, fileText(&r.Files[i])})
	}
	for i := range r.Damage {
		rows = append(rows, row{"damage", r.Damage[i].File, damageText(&r.Damage[i])})
	}
	verdict := string(r.Verdict)
	switch {
	case r.Dropped != nil:
		verdict += fmt.Sprintf(": an opener drops %s of an incomplete write at offset %d of %s; "+
			"if the store is open now, it may be a write under way",
			counted(r.Dropped.Bytes, "byte"), r.Dropped.Offset, r.Dropped.File)
	case r.Verdict == inspect.Corrupt || r.Verdict == inspect.Later:
		verdict += ": an opener refuses it"
	case r.Verdict == inspect.Unreadable:
		verdict += ": an opener fails"
	}
	return append(rows, row{"verdict", string(r.Verdict), verdict})
}

// fileText describes a file.
func fileText(f *inspect.File) string {
	parts := []string{f.File, bytesText(f.Bytes)}
	if f.Pairs > 0 {
		parts = append(parts, counted(f.Pairs, "key"))
	}
	if f.Groups > 0 {
		parts = append(parts, groupsText(f.FirstGroup, f.LastGroup), counted(f.Entries, "write"))
	}
	parts = append(parts, timesText(f.From, f.To)...)
	if !f.Needed {
		parts = append(parts, "no longer needed")
	}
	return strings.Join(parts, ", ")
}

// damageText describes damage and its cost.
func damageText(d *inspect.Damage) string {
	parts := []string{fmt.Sprintf("%s at offset %d: %s", d.File, d.Offset, d.Reason)}
	if d.Bytes > 0 {
		parts[0] = fmt.Sprintf("%s at offset %d, %s: %s", d.File, d.Offset, counted(d.Bytes, "byte"), d.Reason)
	}
	if d.Pairs > 0 {
		parts = append(parts, counted(d.Pairs, "key")+" unreadable")
	}
	if d.Deadlines > 0 {
		parts = append(parts, counted(d.Deadlines, "deadline")+" unreadable: those keys are there, and do not expire")
	}
	if d.FirstGroup > 0 {
		parts = append(parts, groupsText(d.FirstGroup, d.LastGroup)+" missing")
	}
	parts = append(parts, timesText(d.After, d.Before)...)
	if d.Keys != nil {
		parts = append(parts,
			fmt.Sprintf("keys that can be made out: %d, %q to %q", d.Keys.Count, d.Keys.First, d.Keys.Last))
	}
	switch {
	case !d.Needed:
		parts = append(parts, "harmless: an opener does not read it")
	case d.Loss == inspect.None:
		parts = append(parts, "nothing is lost by it")
	case d.Loss == inspect.Possible:
		parts = append(parts, "it is not known whether something is lost")
	case d.Loss == inspect.Certain:
	}
	return strings.Join(parts, ", ")
}

// droppedText says what an opener drops.
func droppedText(d *inspect.Dropped) string {
	return fmt.Sprintf("%s, %s at offset %d", d.File, counted(d.Bytes, "byte"), d.Offset)
}

func groupsText(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("group %d", first)
	}
	return fmt.Sprintf("groups %d to %d", first, last)
}

// timesText describes a span of time, either end of which may be unknown.
func timesText(from, to time.Time) []string {
	var parts []string
	if !from.IsZero() {
		parts = append(parts, "from "+from.Format(time.RFC3339Nano))
	}
	if !to.IsZero() {
		parts = append(parts, "up to "+to.Format(time.RFC3339Nano))
	}
	return parts
}
