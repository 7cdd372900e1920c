# awk -v cases="..." -v before=[yes] -f report.awk RESULTS: what each turn measured (log, case, peer, microseconds of
# CPU a request) -> a table, and then one line `ratio CASE nginx R` each, with access logs on, and one
# line `ratio CASE before R` where an earlier edge took part.
BEGIN { FS = "\t" }
{ v[$1, $2, $3, ++n[$1, $2, $3]] = $4 }
function median(log_, c, peer,    k, i, j, x, a) {
    k = n[log_, c, peer]
    for (i = 1; i <= k; i++)
        a[i] = v[log_, c, peer, i] + 0
    for (i = 2; i <= k; i++) {
        x = a[i]
        for (j = i - 1; j > 0 && a[j] > x; j--)
            a[j + 1] = a[j]
        a[j + 1] = x
    }
    return k % 2 ? a[(k + 1) / 2] : (a[k / 2] + a[k / 2 + 1]) / 2
}
function lesser(a, b) { return a < b ? a : b }
function row(log_, c,    e, s, t, b) {
    e = median(log_, c, "edge")
    s = median(log_, c, "stock")
    t = median(log_, c, "tuned")
    ratio[log_, c] = e / lesser(s, t)
    printf "%-12s %-5s %9.2f %9.2f %9.2f %7.3f", c, log_, e, s, t, ratio[log_, c]
    if (before) {
        b = median(log_, c, "before")
        since[log_, c] = e / b
        printf " %9.2f %7.3f", b, since[log_, c]
    }
    print ""
}
END {
    count = split(cases, C, " ")
    print "server CPU a request, microseconds (medians); ratio to the cheaper nginx"
    printf "%-12s %-5s %9s %9s %9s %7s%s\n", "case", "logs", "edge", "stock", "tuned", "ratio",
           before ? "    before   ratio" : ""
    for (i = 1; i <= count; i++) {
        row("on", C[i])
        row("off", C[i])
    }
    for (i = 1; i <= count; i++)
        printf "ratio %s nginx %.3f\n", C[i], ratio["on", C[i]]
    for (i = 1; i <= count && before; i++)
        printf "ratio %s before %.3f\n", C[i], since["on", C[i]]
}
