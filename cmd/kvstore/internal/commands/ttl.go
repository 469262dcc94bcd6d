package commands

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lines"
)

func newTTL(a *app) *cobra.Command {
	var (
		flags  encodingFlags
		output = rawFormat
	)
	cmd := &cobra.Command{
		Use:   "ttl KEY",
		Short: "Print how long a key will live",
		Long: `Print how long it is until KEY is gone, or never if KEY has no deadline. The exit code is
1 if the key is absent; from its deadline on, a key is absent.

The output is a duration that set --ttl takes. The table has the deadline, too. In JSON,
"expires" is the deadline and "seconds" is how long it is until then; both are missing
if there is none.

This opens the store read-only, which takes as long as reading all of it.`,
		Example: `  kvstore ttl session
  kvstore ttl -o json session`,
		Args: argCount(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			keys, err := flags.keys(args)
			if err != nil {
				return err
			}
			return a.withReader(func(s *kvstore.Store) error {
				r := ttlReport{key: keys[0], encoding: flags.encoding()}
				deadline, ok := s.Deadline(keys[0])
				if !deadline.IsZero() {
					r.expires, r.left = deadline, deadline.Sub(s.Now())
					ok = ok && r.left > 0 // it may have come just now
				}
				if !ok {
					return notFoundError{keys[0]}
				}
				return a.report(output, r)
			})
		},
	}
	flags.add(cmd)
	output.add(cmd)
	return cmd
}

// ttlReport is the output of ttl.
type ttlReport struct {
	key      string
	encoding lines.Encoding
	expires  time.Time     // zero for never
	left     time.Duration // until then
}

// MarshalJSON implements [json.Marshaler]: the name of the member for the key
// says how it is encoded.
func (r ttlReport) MarshalJSON() ([]byte, error) {
	object := lines.NDJSON{Encoding: r.encoding}.AppendMember([]byte{'{'}, "key", []byte(r.key))
	if !r.expires.IsZero() {
		object = lines.AppendExpires(append(object, ','), r.expires)
		seconds, err := json.Marshal(r.left.Seconds())
		if err != nil {
			return nil, err
		}
		object = append(append(object, `,"seconds":`...), seconds...)
	}
	return append(object, '}'), nil
}

func (r ttlReport) rows() []row {
	if r.expires.IsZero() {
		return []row{{"ttl", "never", ""}}
	}
	left := lines.Remaining(r.left)
	return []row{{"ttl", left, left + ", until " + string(lines.AppendTime(nil, r.expires))}}
}
