package nginx

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// combinedFormat is the default log format (nginx.org/en/docs/http/ngx_http_log_module.html).
const combinedFormat = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent ` +
	`"$http_referer" "$http_user_agent"`

// logs reads the access logs. The default log makes no claim.
func (r *reader) logs(route *model.Route, in scope) {
	for _, d := range in.directives("access_log") {
		switch {
		case d.arg(0) == "off":
			route.Logs = append(route.Logs, model.Log{Pos: d.pos})
		case !isPlainLog(d):
			unread := model.Unread{
				Pos: d.pos, Text: firstLine(d.text()),
				Reason: "only unbuffered, unconditional logs with a fixed file name are evaluated",
			}
			if !slices.Contains(r.cfg.Unread, unread) {
				r.cfg.Unread = append(r.cfg.Unread, unread)
			}
		default:
			route.Logs = append(route.Logs, model.Log{
				Pos: d.pos, File: path.Clean(d.arg(0)), Format: readTemplate(logFormat(d, in)),
			})
		}
	}
}

// isPlainLog reports whether a log is a fixed file that gets each line at once, without buffers and conditions.
func isPlainLog(d item) bool {
	file := d.arg(0)
	isFile := path.IsAbs(file) && !strings.Contains(file, "$")
	return isFile && len(d.Args) <= 2
}

// logFormat returns the format of a log.
func logFormat(log item, in scope) string {
	for _, format := range in.directives("log_format") {
		if log.arg(1) == format.arg(0) && log.arg(1) != "" {
			text := slices.DeleteFunc(slices.Clone(format.Args[1:]),
				func(part string) bool { return strings.HasPrefix(part, "escape=") })
			return strings.Join(text, "")
		}
	}
	return combinedFormat
}

// checkRequestIDLog reports a log whose request ID is not the one that backends get but that of the client, which may
// not send one.
func (r *reader) checkRequestIDLog(sent []item, in scope) {
	for _, log := range in.directives("access_log") {
		for _, format := range in.directives("log_format") {
			text := strings.Join(format.Args, " ")
			for _, d := range sent {
				name, value := d.arg(0), d.arg(1)
				clients := "$http_" + strings.ToLower(strings.ReplaceAll(name, "-", "_"))
				differs := strings.Contains(text, clients) && !strings.Contains(text, value)
				if log.arg(1) != format.arg(0) || value != "$request_id" || !differs {
					continue
				}
				if slices.ContainsFunc(r.cfg.Problems, func(p model.Problem) bool { return p.Pos == format.pos }) {
					continue
				}
				r.problem(model.Problem{
					Pos: format.pos, Effect: model.Misleading,
					Text: fmt.Sprintf("the log contains the client's %s, but backends get %s: "+
						"log lines cannot be matched with backend requests", name, value),
					Instead: value + " instead of " + clients + " in the log format",
				})
			}
		}
	}
}
