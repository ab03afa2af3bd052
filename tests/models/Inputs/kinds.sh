# kinds.sh TITANC FOLDER: six steps of each model, by its plan and without.
set -e
yes 'words that come again and again' | head -n 200 > data.txt
for model in encoder balanced scan; do
    for plan in four none; do
        "$1" "$2/$model.tt" --plan $plan --dtype f32 -D steps=6 -o train
        ./train --data data.txt --metrics $model.$plan.jsonl --log-every 1 --threads 1 --quiet
    done
done
