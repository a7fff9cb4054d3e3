package nginx

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// combinedFormat is the format of a log that names none (nginx.org/en/docs/http/ngx_http_log_module.html).
const combinedFormat = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent ` +
	`"$http_referer" "$http_user_agent"`

// logs reads where requests have their lines. A log that nobody asked for is no promise.
func (r *reader) logs(route *model.Route, in scope) {
	for _, d := range in.directives("access_log") {
		switch {
		case d.arg(0) == "off":
			route.Logs = append(route.Logs, model.Log{Pos: d.pos})
		case !isPlainLog(d):
			late := model.Unread{
				Pos: d.pos, Text: firstLine(d.text()),
				Reason: "lbproof reads logs in files of one name that have every line at once",
			}
			if !slices.Contains(r.cfg.Unread, late) {
				r.cfg.Unread = append(r.cfg.Unread, late)
			}
		default:
			route.Logs = append(route.Logs, model.Log{
				Pos: d.pos, File: path.Clean(d.arg(0)), Format: readTemplate(logFormat(d, in)),
			})
		}
	}
}

// isPlainLog says whether a log is one file to which each line is written at once: without buffers and conditions.
func isPlainLog(d item) bool {
	file := d.arg(0)
	isFile := path.IsAbs(file) && !strings.Contains(file, "$")
	return isFile && len(d.Args) <= 2
}

// logFormat is the text of a log's format.
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

// checkRequestIDLog complains of a log in which a request has another id than backends get: that of the client, which need not
// bring one.
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
					Text: fmt.Sprintf("the log has the %s that clients bring, and backends get %s: "+
						"its lines and the backends' cannot be joined", name, value),
					Instead: value + " in place of " + clients,
				})
			}
		}
	}
}
