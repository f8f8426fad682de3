# What can be asked for by name, of all columns: `snakemake fits`.
rule fits:
    input:
        expand(f"{RESULTS}/{{column}}/fit.json", column=FITS),
        expand(f"{RESULTS}/{{column}}/{{table}}", column=COLUMNS, table=TABLES),
        expand(f"{RESULTS}/{{column}}/predict.parquet", column=PREDICTED),


rule figures:
    input:
        expand(f"{RESULTS}/{{column}}/{{figure}}.png", column=COLUMNS, figure=FIGURES),
        expand(f"{RESULTS}/{{column}}/densities.png", column=DENSITIES),
        expand(
            f"{RESULTS}/{{column}}/{{figure}}.png", column=JOINTS, figure=JOINT_FIGURES
        ),


rule members:
    input:
        expand(f"{RESULTS}/{{column}}/{{table}}", column=WITH_MEMBERS, table=MEMBERS),


rule papers:
    input:
        expand(
            f"{RESULTS}/{{column}}/{{file}}",
            column=WITH_MEMBERS,
            file=PAPER_FILES.values(),
        ),
        expand(
            f"{RESULTS}/{{column}}/{{file}}",
            column=DENSITIES,
            file=TEXT_FILES.values(),
        ),


rule comparisons:
    input:
        expand(
            f"{RESULTS}/{{comparison}}/summary.csv",
            comparison=ALL_COMPARISONS,
        ),
