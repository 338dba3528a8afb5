package main

import (
	"fmt"
	"strings"
)

// A quote is a figure that the READMEs show. They are not chosen for what looks
// best: large pulls and pushes, where all do alike, are among them.
type quote struct {
	workload         string
	value            metric
	english, chinese string
}

func quotes() []quote {
	return []quote{
		{"pull of small images c16", rate, "pull of small images, 16 clients", "拉取小镜像，16 个客户端"},
		{"manifest GET by tag c16", rate, "manifest by tag, 16 clients", "按标签读 manifest，16 个客户端"},
		{"manifest GET by tag c16 htpasswd", rate, "the same with log-in, for which distribution runs bcrypt each time", "同上，带登录（distribution 每次都运行 bcrypt）"},
		{"CI-like mix c32", rate, "pulls, tags and pushes as in CI, 32 clients", "类似 CI 的拉取、打标签和推送，32 个客户端"},
		{"CI-like mix c32", p99, "– its slowest pull of a hundred", "– 其中最慢的百分之一的拉取"},
		{"push of 10-layer images c8", rate, "push of images of 10 layers, 8 clients", "推送 10 层的镜像，8 个客户端"},
		{"tags only c16", rate, "tags of what is there, 16 clients", "给已有的镜像打标签，16 个客户端"},
		{"delete of a manifest at tags of 3000", rate, "delete in a repository of 3,000 tags", "在有 3000 个标签的仓库里删除"},
		{"large push, monolithic c1", rate, "push of one large blob", "推送一个大 blob"},
		{"large pull c4", rate, "pull of large blobs, 4 clients", "拉取大 blob，4 个客户端"},
		{"large pull c4", space, "– memory that it takes", "– 占用的内存"},
	}
}

// english is what README.md shows.
func (r *report) english(string) string {
	return r.quoted(func(q quote) string { return q.english }, "", "Berth", "distribution (`registry:3`)", "")
}

// chinese is what README.zh.md shows.
func (r *report) chinese(string) string {
	return r.quoted(func(q quote) string { return q.chinese }, "", "Berth", "distribution（`registry:3`）", "")
}

// quoted is a table of Berth beside distribution.
func (r *report) quoted(called func(quote) string, head ...string) string {
	rows := [][]string{head}
	for _, q := range quotes() {
		ours, unit := r.value(q.workload, us, q.value)
		other, _ := r.value(q.workload, dist, q.value)
		if ours == 0 || other == 0 {
			continue
		}
		rows = append(rows, []string{called(q), q.value.text(ours, unit), q.value.text(other, unit), fmt.Sprintf("**%s**", ratio(ours, other))})
	}
	var b strings.Builder
	markdownTable(&b, rows)
	return b.String()
}
