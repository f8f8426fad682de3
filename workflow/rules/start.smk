# A fit also climbs from that of the release before. It waits for it only if it has to be done itself: a release that
# changes must not do those after it again, and Snakemake does not look at jobs behind one that it runs, not even behind
# an `ancient` file. So the start is a file of its own, and for a fit that is there it has nothing that makes it: the job
# below then lacks its input, and Snakemake takes the file as it is. Columns that share a job have one file.
rule start:
    input:
        lambda wildcards: checked_run().start_sources(**wildcards) or "(kept)",
    output:
        f"{RESULTS}/{{catalog}}/{{release}}/starts/{{job}}.json",
    log:
        f"{LOGS}/start/{{catalog}}/{{release}}/{{job}}.log",
    localrule: True
    conda:
        "../envs/mixpipe.yaml"
    message:
        "taking the fit before {wildcards.catalog} {wildcards.release} {wildcards.job} for a start"
    shell:
        "cat {input:q} > {output:q}.part 2> {log:q} && mv {output:q}.part {output:q} 2>> {log:q}"
